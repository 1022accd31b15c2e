"""Trees with everything that files may have, and what must stay the same when they are packed."""

import dataclasses
import os
import subprocess

import support
import xzformat

KIB = 1 << 10


@dataclasses.dataclass
class Tree:
    """The files that were made. Names are paths below the root."""
    contents: dict
    packable: set
    metadata: dict       # of files, by path
    directories: dict    # mtimes in ns


def _metadata(path):
    st = os.lstat(path)
    acl = subprocess.run(["getfacl", "-cpE", path], capture_output=True, check=True).stdout
    # Without the line that names the file.
    attributes = subprocess.run(["getfattr", "-d", "-m", "^user", "--absolute-names", path],
                                capture_output=True, check=True).stdout.partition(b"\n")[2]
    return (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, acl, attributes)


def make(root):
    """Files of many kinds below `root`."""
    os.makedirs(os.path.join(root, "a", "b c", "empty"))
    contents = {
        "plain": xzformat.text(1, 50 * KIB),
        "mode": xzformat.text(2, 5 * KIB),
        "owner": xzformat.text(3, 5 * KIB),
        "a/acl": xzformat.text(4, 5 * KIB),
        "a/xattr": xzformat.text(5, 5 * KIB),
        "a/b c/large": xzformat.text(6, 2500 * KIB),
        "a/b c/zeros": bytes(300 * KIB),
        "a/b c/new\nline": xzformat.text(7, 5 * KIB),
        "a/\u00e4.log": xzformat.text(8, 5 * KIB),
        "looks.xz": xzformat.text(9, 5 * KIB),
        "plain.xz.xzhot": xzformat.text(10, 5 * KIB),
        "noise": os.urandom(9 * KIB),
        "empty": b"",
    }
    for number, (name, content) in enumerate(contents.items()):
        path = os.path.join(root, name)
        with open(path, "wb") as file:
            file.write(content)
    os.chmod(os.path.join(root, "mode"), 0o751)
    os.chown(os.path.join(root, "owner"), 1234, 4321)
    support.run(["setfacl", "-m", "u:1000:r,g:1001:rw", os.path.join(root, "a/acl")])
    os.setxattr(os.path.join(root, "a/xattr"), "user.note", b"bytes \xff\0 of it")
    for number, name in enumerate(contents):
        os.utime(os.path.join(root, name), ns=(5_000_000_001, 1_000_000_000_000_000_007 + number))
    os.symlink("plain", os.path.join(root, "link"))
    os.mkfifo(os.path.join(root, "fifo"))
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, ns=(7_000_000_000, 1_100_000_000_000_000_009))
    return Tree(contents, set(contents) - {"noise", "empty"},
                {name: _metadata(os.path.join(root, name)) for name in contents},
                {folder: os.stat(folder).st_mtime_ns for folder, _, _ in os.walk(root)})


def compressed_name(name):
    return name.removesuffix(".xzhot") + ".xz"


def check_packed(test, root, tree):
    """Every file that can be packed is packed, and nothing else changed."""
    names = {os.path.relpath(os.path.join(folder, name), root)
             for folder, _, files in os.walk(root) for name in files}
    test.assertEqual(names, {compressed_name(name) if name in tree.packable else name
                             for name in tree.contents} | {"link", "fifo"})
    for name, content in tree.contents.items():
        packed = name in tree.packable
        path = os.path.join(root, compressed_name(name) if packed else name)
        with open(path, "rb") as file:
            test.assertEqual(support.run(["xz", "-dc", path]) if packed else file.read(), content,
                             name)
        test.assertEqual(_metadata(path), tree.metadata[name], name)
    check_directories(test, root, tree)


def check_plain(test, root, tree):
    """Every file is as it was made, except that escaped names are what they stand for."""
    names = {os.path.relpath(os.path.join(folder, name), root)
             for folder, _, files in os.walk(root) for name in files}
    test.assertEqual(names, set(tree.contents) | {"link", "fifo"})
    for name, content in tree.contents.items():
        path = os.path.join(root, name)
        with open(path, "rb") as file:
            test.assertEqual(file.read(), content, name)
        test.assertEqual(_metadata(path), tree.metadata[name], name)
    check_directories(test, root, tree)


def check_directories(test, root, tree):
    test.assertEqual({folder: os.stat(folder).st_mtime_ns for folder, _, _ in os.walk(root)},
                     tree.directories)


def stored(root):
    """{path: (inode, mtime, size)} of all files below `root`."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            st = os.lstat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), root)] = (
                st.st_ino, st.st_mtime_ns, st.st_size)
    return found
