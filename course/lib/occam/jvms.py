"""Several drivers in one pyspark, which was made for one: it keeps its JVM, context and session in class attributes.

Every context of ours has its JVM as attributes of its own, so that its DataFrames go on working; the class attributes
are those of the current one, and what is made from nothing (`F.col("x")`, `F.lit(1)`, a model) is made there.

A call whose arguments live in another JVM than its target would reach some wrong object there, or none. So from the
second driver on py4j's calls are looked at: a function without a home of its own (all of `F`) is called where its
arguments live, and anything else is refused in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from py4j.clientserver import ClientServerConnection
from py4j.java_gateway import JavaClass, JavaMember, JavaObject
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext, SparkFiles
from pyspark.sql import SparkSession

from occam import driver as jvm
from occam import held
from occam.classic import Context, Session
from occam.errors import Refused
from occam.held import Held

_STATIC = "z:"
"""How py4j's address of a class begins, in place of an object's."""


def must_be_ours() -> None:
    """Raises Refused when the kernel has a Spark session that is not of a cluster."""
    session = SparkSession._instantiatedSession
    if session is not None and session._sc._jsc is not None and not isinstance(session._sc, Context):
        raise Refused("this kernel already has a Spark session of its own", "stop it first, or restart the kernel")


def new_session(driver: jvm.Driver) -> tuple[Any, Session]:
    """pyspark's connection to a JVM that has just started, and a session there."""
    java = jvm.connect(driver)
    point_at(None)
    SparkContext._ensure_initialized(gateway=java)
    return java, _ours(java, SparkSession.builder.getOrCreate())


def session_again(driver: jvm.Driver) -> tuple[Any, Session]:
    """The same with a JVM whose kernel is gone: workers stay, and all that its cells made goes.

    Raises Py4JError when the JVM does not answer, or its Spark has stopped.
    """
    java = jvm.connect(driver)
    point_at(None)
    SparkContext._ensure_initialized(gateway=java)
    _drop_what_cells_made(java)
    there = SparkSession._get_j_spark_session_class(java.jvm).getDefaultSession()
    if there.isEmpty() or there.get().sparkContext().isStopped():
        raise Py4JError("its SparkContext has stopped")
    context = java.jvm.JavaSparkContext.fromSparkContext(there.get().sparkContext())
    fresh = _cleaned(there.get(), context)
    python = SparkContext(gateway=java, jsc=context, conf=SparkConf(_jconf=context.getConf()))
    return java, _ours(java, SparkSession(python, jsparkSession=fresh))


def point_at(one: Held | None) -> None:
    """Make `one` what pyspark's class attributes say."""
    from pyspark.sql.context import SQLContext

    session = one.session if one else None
    SparkContext._gateway, SparkContext._jvm = (one.java, one.java.jvm) if one else (None, None)
    SparkContext._active_spark_context = SparkFiles._sc = session.sparkContext if session else None
    SparkSession._instantiatedSession = SparkSession._activeSession = session
    SQLContext._instantiatedContext = None
    if len(held.known()) > 1:
        _look_at_calls()


def forget(java: Any) -> None:
    """Close pyspark's connection to a JVM that ends."""
    java.shutdown()


def _ours(java: Any, session: Any) -> Session:
    context = session.sparkContext
    session.__class__, context.__class__ = Session, Context
    context._gateway, context._jvm, context._session = java, java.jvm, session
    ours: Session = session
    return ours


def _drop_what_cells_made(java: Any) -> None:
    """py4j keeps every object that Python ever saw until Python lets go of it; a dead kernel cannot."""
    bindings = JavaObject("GATEWAY_SERVER", java._gateway_client).getGateway().getBindings()
    ids = bindings.keySet()
    mine = {bindings._target_id, ids._target_id}
    for one in list(ids):
        if one.startswith("o") and one not in mine:
            bindings.remove(one)


def _cleaned(old: Any, context: Any) -> Any:
    """A fresh session of the JVM: jobs and streams of the dead kernel end, and what it kept in memory is freed."""
    context.sc().cancelAllJobs()
    for query in old.streams().active():
        query.stop()
    old.catalog().clearCache()
    for rdd in context.getPersistentRDDs().values():
        rdd.unpersist(False)
    return old.newSession()


_plain_send = ClientServerConnection.send_command


def _send(connection: Any, command: str) -> Any:
    """An interrupt leaves an answer under way that the next call on this connection would take for its own.

    py4j shuts the connections of all other threads then, but not this one.
    """
    try:
        return _plain_send(connection, command)
    except KeyboardInterrupt:
        connection.close()
        raise


ClientServerConnection.send_command = _send


def _look_at_calls() -> None:
    if JavaMember.__call__ is not _call:
        JavaMember.__call__ = _call
        JavaClass.__call__ = _make


_plain_call, _plain_make = JavaMember.__call__, JavaClass.__call__


def _call(member: Any, *args: Any) -> Any:
    homes = {client for client in _homes(args) if client is not member.gateway_client}
    if not homes:
        return _plain_call(member, *args)
    if len(homes | set(_homes(args))) == 1 and member.target_id.startswith(_STATIC):
        elsewhere = JavaMember(member.name, member.container, member.target_id, homes.pop())
        return _plain_call(elsewhere, *args)
    raise _mixed([member.gateway_client, *_homes(args)])


def _make(java_class: Any, *args: Any) -> Any:
    if any(client is not java_class._gateway_client for client in _homes(args)):
        raise _mixed([java_class._gateway_client, *_homes(args)])
    return _plain_make(java_class, *args)


def _homes(args: Iterable[Any]) -> Iterator[Any]:
    """The JVMs, as py4j's clients, that the objects among `args` live in."""
    for one in args:
        if isinstance(one, JavaObject):
            yield one._gateway_client
        elif isinstance(one, (list, tuple)):
            yield from _homes(one)


def _mixed(clients: list[Any]) -> Refused:
    owners = {one.java._gateway_client: one.wish.name for one in held.known()}
    names = list(dict.fromkeys(owners.get(client, "one that has ended") for client in clients))
    both, first = " and ".join(repr(name) for name in names), names[0]
    return Refused(
        f"this mixes what was made on the clusters {both}: columns, functions and models belong to the cluster that"
        " was current when they were made",
        f"occam.spark(name={first!r}) makes that one current; then make column, function or model again",
    )
