"""One module a verb; each verb is idempotent and says what it did."""
