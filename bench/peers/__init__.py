"""The proxies beside us, one file each: a configuration that does the work the leanest way that is right."""
