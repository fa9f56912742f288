#!lua flags=no-writes
-- KEYS[1]: any key. Returns ARGV[1].
return ARGV[1]
