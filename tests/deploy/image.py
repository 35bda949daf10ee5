"""The container image: its layout, and a static program that serves from it."""

import contextlib
import io
import json
import os
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

from world import ROOT, Skipped, free_port, missing, run, serves, unlike

USER = 10001


class Image:
    """An archive in the layout of OCI, unpacked in memory."""

    def __init__(self, archive):
        with tarfile.open(archive) as tar:
            files = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}
        blob = lambda digest: files[f"blobs/{digest.replace(':', '/')}"]  # noqa: E731
        manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]["digest"]))
        self.settings = json.loads(blob(manifest["config"]["digest"]))["config"]
        self.layers = [blob(layer["digest"]) for layer in manifest["layers"]]

    def members(self):
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                yield from tar

    def unpack(self, directory):
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                tar.extractall(directory, numeric_owner=True, filter="fully_trusted")


def small_static_program(directory):
    """A program that needs no library, built in a moment. It is never run."""
    program = Path(directory) / "program"
    source = ["cc", "-static", "-x", "c", "-o", str(program), "-"]
    subprocess.run(source, input="int main(void) { return 0; }", text=True, check=True, capture_output=True, timeout=60)
    return program


def laid_out(image):
    settings = image.settings
    owners = {one.name: one.uid for one in image.members()}
    modes = {one.name: oct(one.mode & 0o7777) for one in image.members()}
    extra = [name for name in owners if name.split("/")[0] not in ("etc", "tmp", "usr", "var")]
    return unlike(
        user=(settings["User"], f"{USER}:{USER}"),
        command=(settings["Entrypoint"] + settings["Cmd"], ["/usr/bin/fingerpost", "serve"]),
        ports=(sorted(settings["ExposedPorts"]), ["8686/tcp", "9686/tcp"]),
        volumes=(list(settings["Volumes"]), ["/var/lib/fingerpost"]),
        healthcheck=("Healthcheck" in settings, False),
        data=(owners.get("var/lib/fingerpost"), USER),
        program=((owners.get("usr/bin/fingerpost"), modes.get("usr/bin/fingerpost")), (0, "0o755")),
        temporary=(modes.get("tmp"), "0o1777"),
        extra=(extra, []),
    )


@contextlib.contextmanager
def read_only(root):
    """The directory, mounted read-only but for the volumes, as containers are run."""
    run("mount", "--bind", root, root)
    try:
        for volume in ("tmp", "var/lib/fingerpost"):
            run("mount", "-t", "tmpfs", "-o", f"mode=1777,uid={USER}", "tmpfs", root / volume)
        code, output = run("mount", "-o", "remount,bind,ro", root)
        yield code == 0 and not os.access(root / "etc", os.W_OK) and output == ""
    finally:
        run("umount", "--recursive", root)


def served(image, directory):
    """Runs the image as a container is run, but for the namespaces."""
    root = Path(directory) / "root"
    root.mkdir()
    image.unpack(root)
    # Whoever runs containers gives them these.
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "dev").mkdir()
    for name, minor in (("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, stat.S_IFCHR, os.makedev(1, minor))
        (root / "dev" / name).chmod(0o666)
    with read_only(root) as is_read_only:
        if not is_read_only:
            return Skipped("nothing can be mounted here")
        port, probes = free_port(), free_port()
        environment = {"FINGERPOST_SERVER__BIND": f"localhost:{port}"}
        environment["FINGERPOST_METRICS__BIND"] = f"127.0.0.1:{probes}"
        command = ["/usr/sbin/chroot", f"--userspec={USER}:{USER}", root]
        return serves([*command, *image.settings["Entrypoint"], *image.settings["Cmd"]], port, probes, environment)


def cases(options):
    absent = missing("buildah", "cc") or (Skipped("not root") if os.geteuid() else None)
    with tempfile.TemporaryDirectory(prefix="image-") as directory:
        archive = Path(directory) / "image.tar"
        code, output = run(ROOT / "scripts" / "image", options.binary, archive)
        yield "a program that needs libraries is refused", unlike(status=(code, 64))
        if absent:
            yield "the image is built", absent
            return
        program = options.static or small_static_program(directory)
        code, output = run(ROOT / "scripts" / "image", program, archive)
        yield "the image is built", output.splitlines() if code else []
        if code:
            return
        image = Image(archive)
        yield "it holds the program for a user who is not root", laid_out(image)
        skipped = Skipped("it takes a static program (--static)")
        yield "the program serves where nothing else is", served(image, directory) if options.static else skipped
