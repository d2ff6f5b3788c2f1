"""The figure process: plotnine draws in one child process, never in the kernel."""
