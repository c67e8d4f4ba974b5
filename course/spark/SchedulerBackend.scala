package org.apache.spark.scheduler.cluster.occam

import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean

import scala.concurrent.{ExecutionContext, Future}
import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

import org.apache.spark.SparkContext
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.scheduler._
import org.apache.spark.scheduler.cluster.{CoarseGrainedSchedulerBackend, SchedulerBackendUtils}
import org.apache.spark.util.ThreadUtils

/** Registered in META-INF/services: Spark asks it about every master URL it does not know itself. */
class OccamClusterManager extends ExternalClusterManager {
  override def canCreate(masterURL: String): Boolean = masterURL.startsWith("spark+occam:")

  override def createTaskScheduler(sc: SparkContext, masterURL: String): TaskScheduler = new TaskSchedulerImpl(sc)

  override def createSchedulerBackend(sc: SparkContext, masterURL: String, scheduler: TaskScheduler): SchedulerBackend =
    new OccamSchedulerBackend(scheduler.asInstanceOf[TaskSchedulerImpl], sc, Gateway(sc.conf))

  override def initialize(scheduler: TaskScheduler, backend: SchedulerBackend): Unit =
    scheduler.asInstanceOf[TaskSchedulerImpl].initialize(backend)
}

/**
 * Spark's wish for executors, told to the gateway, which starts and ends the containers.
 *
 * The gateway made the cluster, its id and its first executors before this driver started; so nothing is asked for
 * here at the start, the driver only says that it is there. Every call goes through one thread, in order, because a
 * later total replaces an earlier one.
 *
 * spark.occam.app.id     id of the application, which the gateway gave to the executors
 * spark.occam.heartbeat  how often the lease is renewed (default 5s; 0s: never)
 * spark.occam.release    false keeps the cluster when this driver stops (default true)
 */
class OccamSchedulerBackend(scheduler: TaskSchedulerImpl, sc: SparkContext, gateway: Gateway)
    extends CoarseGrainedSchedulerBackend(scheduler, sc.env.rpcEnv) {

  private val presetId = conf.get("spark.occam.app.id")
  private val heartbeat = conf.getTimeAsMs("spark.occam.heartbeat", "5s")
  private val caller = ThreadUtils.newDaemonSingleThreadScheduledExecutor("occam-gateway")
  private implicit val inOrder: ExecutionContext = ExecutionContext.fromExecutor(caller)

  @volatile private var wanted = SchedulerBackendUtils.getInitialTargetExecutorNumber(conf)
  @volatile private var asked = wanted
  private val ranJobs = new AtomicBoolean(false)
  private val troubles = scala.collection.mutable.Map.empty[String, String]
  private var unknown = 0

  override def applicationId(): String = presetId

  override def sufficientResourcesRegistered(): Boolean = totalRegisteredExecutors.get() >= wanted * minRegisteredRatio

  override def start(): Unit = {
    super.start()
    if (heartbeat > 0) {
      sc.addSparkListener(new SparkListener {
        override def onJobStart(started: SparkListenerJobStart): Unit = ranJobs.set(true)
      })
      caller.scheduleWithFixedDelay(() => renewLease(), 0, heartbeat, TimeUnit.MILLISECONDS)
    }
  }

  override def doRequestTotalExecutors(totals: Map[ResourceProfile, Int]): Future[Boolean] = {
    asked = totals.values.sum
    tellTotal()
  }

  override def doKillExecutors(ids: Seq[String]): Future[Boolean] = giveBack(ids)

  /** An executor that Spark decommissions ends by itself; the gateway must know, or it would replace it as lost. */
  override def decommissionExecutors(
      executors: Array[(String, ExecutorDecommissionInfo)],
      adjustTargetNumExecutors: Boolean,
      triggeredByExecutor: Boolean): Seq[String] = {
    val going = super.decommissionExecutors(executors, adjustTargetNumExecutors, triggeredByExecutor)
    if (!triggeredByExecutor && going.nonEmpty) giveBack(going)
    going
  }

  override def stop(): Unit = {
    caller.shutdownNow()
    try super.stop()
    finally if (conf.getBoolean("spark.occam.release", defaultValue = true)) {
      val said = gateway.ask("DELETE")
      if (!said.ok && said.status != 404) logWarning(s"releasing the cluster: ${said.reason}; its lease will end it")
    }
  }

  /**
   * To Spark a lower total means "no new ones", to the gateway "end some", and it would choose which. So never fewer
   * are asked for than work here; those that Spark chooses go by their ids.
   */
  private def tellTotal(): Future[Boolean] = tell("asking for executors") {
    val total = math.max(asked, getExecutorIds().count(isExecutorActive))
    gateway.ask("PUT", "executors", s"""{"total": $total}""")
  }

  private def giveBack(ids: Seq[String]): Future[Boolean] = {
    val list = ids.map(id => s""""$id"""").mkString("[", ", ", "]")
    val gone = tell(s"giving back executors ${ids.mkString(", ")}")(gateway.ask("POST", "executors/kill", s"""{"ids": $list}"""))
    tellTotal()
    gone
  }

  /** False, and one line in the log, when the gateway says no; Spark's allocation asks again later. */
  private def tell(what: String)(ask: => Answer): Future[Boolean] =
    if (caller.isShutdown) Future.successful(false)
    else Future {
      val said = ask
      note(said, what)
      said.ok
    }

  private def renewLease(): Unit =
    try {
      val jobs = ranJobs.getAndSet(false) || sc.statusTracker.getActiveJobIds().nonEmpty
      val said = gateway.ask("PUT", "lease", s"""{"registered": ${totalRegisteredExecutors.get()}, "jobs": $jobs}""")
      note(said, "renewing the lease")
      unknown = if (said.status == 404) unknown + 1 else 0
      if (said.ok) learn(said)
      if (unknown >= 2) end("the cluster is no longer there")
    } catch {
      case NonFatal(error) => logWarning(s"renewing the lease: $error")
    }

  /** The cluster as the gateway sees it: it may have been scaled from outside, and it knows of lost hosts before Spark does. */
  private def learn(said: Answer): Unit = {
    wanted = said.body.path("wanted").asInt(wanted)
    val lost = said.body.path("executors").elements().asScala.filter(_.path("state").asText() == "lost")
    val registered = getExecutorIds().toSet
    lost.map(one => (one.path("id").asText(), one.path("message").asText(""))).filter { case (id, _) => registered(id) }
      .foreach { case (id, message) => removeExecutor(id, ExecutorProcessLost(s"lost: $message")) }
    if (said.body.path("state").asText() == "failed" && registered.isEmpty) end(said.body.path("message").asText())
  }

  /** Without executors that will ever come, jobs would wait for ever: end the application, and say why. */
  private def end(why: String): Unit = {
    logError(s"$why; this Spark session ends")
    caller.shutdown()
    sc.stopInNewThread()
  }

  /** The same trouble with the same thing is logged once, until it is over. */
  private def note(said: Answer, what: String): Unit =
    if (said.ok) troubles.remove(what)
    else if (!troubles.put(what, said.reason).contains(said.reason)) logWarning(s"$what: ${said.reason}")
}
