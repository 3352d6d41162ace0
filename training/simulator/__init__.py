"""Wedding planning as a process that can be computed: what no public log has, with a bound that can be attained."""
