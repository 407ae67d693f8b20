"""Apache Kafka, one broker without ZooKeeper, from the jars of its own release."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.background_process import accepts, free_ports
from tests.support.patience import eventually

_VERSION = "4.1.1"
_CACHE = Path.home() / ".cache" / "otel-tcplife"

_POM = f"""<project>
  <modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{_VERSION}</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={directory}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"


def _jars() -> str:
    """Its class path, once Maven has fetched the jars."""
    directory = _CACHE / f"kafka-{_VERSION}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "fetched").exists():
            (directory / "pom.xml").write_text(_POM)
            fetch = [
                "mvn",
                "--quiet",
                "--batch-mode",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={directory}/jars",
            ]
            subprocess.run(fetch, cwd=directory, check=True)
            (directory / "fetched").touch()
    return f"{directory}/jars/*"


@contextmanager
def kafka(directory: Path) -> Generator[str]:
    """A broker, empty at first: its address, as a list of one in YAML."""
    broker, controller = free_ports(2)
    directory.mkdir(parents=True)
    properties = directory / "server.properties"
    properties.write_text(_PROPERTIES.format(broker=broker, controller=controller, directory=directory))
    java = ["java", "-Xmx512m", "-cp", _jars()]
    format_it = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)]
    subprocess.run(format_it, check=True, capture_output=True)
    with (directory / "log").open("wb") as log:
        command = ["setpriv", "--pdeathsig", "KILL", "--", *java, "kafka.Kafka", str(properties)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: accepts(broker) or process.poll() is not None)
        assert process.poll() is None, (directory / "log").read_text()
        yield f"[127.0.0.1:{broker}]"
    finally:
        process.kill()
        process.wait()
