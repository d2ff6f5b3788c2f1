"""The explorer's kernel side: requests in, jobs on one thread, traits out."""
