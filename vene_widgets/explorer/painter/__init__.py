"""The figure process: plotnine draws in one child process, not in the kernel."""
