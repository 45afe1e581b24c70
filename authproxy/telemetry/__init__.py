"""What is written down about requests; never a token, a cookie or a query. It must not fail a request."""
