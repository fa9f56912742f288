"""`$default` of this example: the conversation of tellwire, with `add_comment`."""

from comments import Comments  # type: ignore[import-not-found]  # it is beside this one in the function

from tellwire import broadcast_to_topic
from tellwire.aws.handlers import default

default.on_message("add_comment")(Comments(broadcast_to_topic).add)
