"""`make bench`: what a deploy costs, on the real engine and a real server of this machine."""
