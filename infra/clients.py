"""Clients of shared engines, one of each a process, made when first asked for."""

from __future__ import annotations

import os
import shutil
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import UserError
from infra.settings import ROOT, settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Frozen here because a wrong one gives wrong data, not an error.
_MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "false",  # our times are instants
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # default: INT96, which loses its zone
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",  # a set named 2013 is a name
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}


@lru_cache
def spark() -> SparkSession:
    """The Spark session: a client of the Spark Connect server at `SPARK_REMOTE` when set, else two local cores.

    Raises UserError when there is no Java to start a local one with.
    """
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # default: whatever python3 is first on PATH
    from pyspark.sql import SparkSession

    if remote := os.environ.get("SPARK_REMOTE"):
        builder = SparkSession.builder.remote(remote)
    else:
        builder = SparkSession.builder.master("local[2]")
        for key, value in _local().items():
            builder = builder.config(key, value)
    for key, value in _MEANING.items():
        builder = builder.config(key, value)
    session = builder.appName("aiops").getOrCreate()
    if not remote:
        session.sparkContext.setLogLevel("ERROR")
    return session


def _local() -> dict[str, str]:
    """What only a session that starts its own JVM may say."""
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which("java") or (home and (Path(home) / "bin" / "java").exists())):
        raise UserError("Spark needs Java 17 or newer, and there is no `java` on PATH or below JAVA_HOME; install one")
    # Python workers import our transforms by name, wherever the driver was started from
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": path,
        "spark.local.dir": str(settings().home / "spark"),
        "spark.sql.warehouse.dir": str(settings().home / "spark" / "warehouse"),
        "spark.sql.shuffle.partitions": "16",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
