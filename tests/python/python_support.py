"""What the tests of the Python module share."""

import io
import lzma
import random
import subprocess
import sys
import threading

import xzfs

BLOCK = 1 << 16


def some_text(size, seed=1):
    """Text that compresses, in lines."""
    generator = random.Random(seed)
    words = [generator.randbytes(generator.randrange(2, 9)).hex() for _ in range(500)]
    lines = []
    length = 0
    while length < size:
        lines.append(" ".join(generator.choices(words, k=8)))
        length += len(lines[-1]) + 1
    return ("\n".join(lines) + "\n").encode()[:size]


PLAIN = some_text(20 * BLOCK + 17)


def blocks_of(plain, block=BLOCK, check="crc64"):
    """What xz makes of it."""
    return subprocess.run(["xz", "-1c", f"--block-size={block}", f"--check={check}"], input=plain,
                          stdout=subprocess.PIPE, check=True).stdout


STORED = blocks_of(PLAIN)


class FileObject(io.RawIOBase):
    """A file object that isn't one of Python's: counts, and does what a test says before it reads."""

    def __init__(self, data, before_read=None):
        self.data = data
        self.position = 0
        self.before_read = before_read
        self.reads = 0
        self.inside = 0
        self.most_inside = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.position = offset + (0, self.position, len(self.data))[whence]
        return self.position

    def tell(self):
        return self.position

    def read(self, size=-1):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.reads += 1
            if self.before_read is not None:
                self.before_read(self)
            end = len(self.data) if size < 0 else self.position + size
            data = bytes(self.data[self.position:end])
            self.position += len(data)
            return data
        finally:
            self.inside -= 1


def in_threads(count, work):
    """Runs work(number) in so many threads. Raises what one of them raises."""
    raised = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # pylint: disable=broad-except
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def run_python(program, *arguments, timeout=120):
    """A Python of its own that runs the text `program`."""
    return subprocess.run([sys.executable, "-B", "-W", "ignore::DeprecationWarning", "-X", "faulthandler", "-c", program, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                          check=False)


def lzma_result(call):
    """What `call` returns, or the class of what it raises: to compare two modules."""
    try:
        return call()
    except (lzma.LZMAError, EOFError, OSError, ValueError, TypeError, OverflowError) as error:
        return type(error)


assert xzfs.LZMAError is lzma.LZMAError
