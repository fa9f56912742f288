#!lua
-- Changes nothing, and is refused wherever a publication would be.
return 1
