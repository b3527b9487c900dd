#!/bin/sh
# The last step of making the image of the local server, in both ways of making it. It runs inside the image.
set -eu

# A container gets its own host key when it is made; one in the image would be everybody's.
rm -f /etc/ssh/ssh_host_*

# Images made for containers forbid every service to start when a package is installed. This one plays a server.
rm -f /usr/sbin/policy-rc.d

# systemd fills an empty one at the first start.
: > /etc/machine-id

# As on a server that has just been handed over: the first job asks the mirror for its lists.
apt-get clean
rm -rf /var/lib/apt/lists/*
