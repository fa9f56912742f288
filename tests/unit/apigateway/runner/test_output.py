"""Tagged output of handlers: the tag of each line, and complete lines only."""

import io
import sys
import threading
from contextvars import copy_context

from tellwire.apigateway.runner.output import TaggedStream, tagged, tagged_streams


def test_a_line_has_the_tag_of_who_prints() -> None:
    below = io.StringIO()
    stream = TaggedStream(below)
    print("outside", file=stream)
    with tagged("f 1"):
        print("inside\nand more", file=stream)
    print("outside again", file=stream)
    assert below.getvalue() == "outside\nf 1 | inside\nf 1 | and more\noutside again\n"


def test_a_line_in_pieces_is_held_until_it_is_whole() -> None:
    below = io.StringIO()
    stream = TaggedStream(below)
    with tagged("f 1"):
        stream.write("half")
        assert below.getvalue() == ""
        stream.write(" whole\nrest")
        assert below.getvalue() == "f 1 | half whole\n"
    assert below.getvalue() == "f 1 | half whole\nf 1 | rest\n"


def test_invocations_at_the_same_time_keep_their_lines_apart() -> None:
    below = io.StringIO()
    stream = TaggedStream(below)
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        with tagged(name):
            for _ in range(50):
                barrier.wait()
                stream.write("left ")
                barrier.wait()
                stream.write("right\n")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = below.getvalue().splitlines()
    assert sorted(lines) == ["a | left right"] * 50 + ["b | left right"] * 50


def test_a_thread_of_a_handler_prints_for_it() -> None:
    below = io.StringIO()
    stream = TaggedStream(below)
    with tagged("f 1"):
        thread = threading.Thread(target=copy_context().run, args=(stream.write, "from a thread\n"))
        thread.start()
        thread.join()
    assert below.getvalue() == "f 1 | from a thread\n"


def test_the_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with tagged_streams():
        assert isinstance(sys.stdout, TaggedStream)
        assert isinstance(sys.stderr, TaggedStream)
        assert sys.stdout.encoding == before[0].encoding
        assert sys.stdout.isatty() == before[0].isatty()
    assert (sys.stdout, sys.stderr) == before
