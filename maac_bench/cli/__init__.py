"""The commands of `maac-bench`, a file per group; `parsing` chooses one."""
