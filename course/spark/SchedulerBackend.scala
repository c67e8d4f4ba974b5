package org.apache.spark.scheduler.cluster.occam

import java.util.concurrent.{ConcurrentHashMap, RejectedExecutionException, TimeUnit}
import java.util.concurrent.atomic.{AtomicBoolean, AtomicInteger}

import scala.collection.mutable
import scala.concurrent.Future
import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode

import org.apache.spark.SparkContext
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.scheduler._
import org.apache.spark.scheduler.cluster.{CoarseGrainedSchedulerBackend, SchedulerBackendUtils}
import org.apache.spark.util.{ThreadUtils, Utils}

/** Registered in META-INF/services: Spark asks it about every master URL it does not know itself. */
class OccamClusterManager extends ExternalClusterManager {
  override def canCreate(masterURL: String): Boolean = masterURL.startsWith("spark+occam:")

  override def createTaskScheduler(sc: SparkContext, masterURL: String): TaskScheduler = {
    Profiles.allow(sc.resourceProfileManager)
    new TaskSchedulerImpl(sc)
  }

  override def createSchedulerBackend(sc: SparkContext, masterURL: String, scheduler: TaskScheduler): SchedulerBackend =
    new OccamSchedulerBackend(scheduler.asInstanceOf[TaskSchedulerImpl], sc, Gateway(sc.conf))

  override def initialize(scheduler: TaskScheduler, backend: SchedulerBackend): Unit =
    scheduler.asInstanceOf[TaskSchedulerImpl].initialize(backend)
}

/**
 * Spark's wish for executors, told to the gateway, which starts and ends the containers.
 *
 * The gateway made the cluster, its id and its first executors before this driver started; so nothing is asked for
 * here at the start, the driver only says that it is there. What Spark wants is kept here, and told until the gateway
 * has granted all of it: at once, and again with every heartbeat. So a gateway that was away, or had no room, learns it
 * as soon as it can. Every call goes through one thread, in order, because a later wish replaces an earlier one.
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
  private val ranJobs = new AtomicBoolean(false)
  private val waiting = new AtomicInteger(0)
  /** Resource profile of each stage that is not done. */
  private val stages = new ConcurrentHashMap[Int, Int]()
  @volatile private var wanted = SchedulerBackendUtils.getInitialTargetExecutorNumber(conf)

  // From here on only the caller's thread reads and writes.
  /** What Spark wants; nothing while it has never said so, as in a cluster of a fixed size. */
  private var wish = Map.empty[ResourceProfile, Int]
  /** Executors of each profile that the gateway was last asked for, and those that it granted. */
  private var told, granted = Map.empty[Int, Int]
  /** Executors that Spark gave up and the gateway does not know of yet. */
  private var leaving = Set.empty[String]
  private val mourned = mutable.Set.empty[String]
  private val troubles = mutable.Map.empty[String, String]
  private var unknown = 0

  override def applicationId(): String = presetId

  override def sufficientResourcesRegistered(): Boolean = totalRegisteredExecutors.get() >= wanted * minRegisteredRatio

  override def start(): Unit = {
    super.start()
    sc.addSparkListener(new SparkListener {
      override def onStageSubmitted(one: SparkListenerStageSubmitted): Unit =
        stages.put(one.stageInfo.stageId, one.stageInfo.resourceProfileId)
      override def onStageCompleted(one: SparkListenerStageCompleted): Unit = stages.remove(one.stageInfo.stageId)
    })
    if (heartbeat > 0) {
      sc.addSparkListener(new SparkListener {
        override def onJobStart(started: SparkListenerJobStart): Unit = ranJobs.set(true)
      })
      caller.scheduleWithFixedDelay(
        () => Utils.tryLogNonFatalError(renewLease()), 0, heartbeat, TimeUnit.MILLISECONDS)
    }
  }

  /**
   * Always yes, and at once, as on Kubernetes: it means that the wish is known, not that it is granted. After a no
   * Spark's allocation would come back ten times a second with a warning each time, and while it waits for an answer
   * it hears nothing of tasks.
   */
  override def doRequestTotalExecutors(totals: Map[ResourceProfile, Int]): Future[Boolean] = inOrder { wish = totals }

  override def doKillExecutors(ids: Seq[String]): Future[Boolean] = inOrder { leaving ++= ids }

  /** An executor that Spark decommissions ends by itself; the gateway must know, or it would replace it as lost. */
  override def decommissionExecutors(
      executors: Array[(String, ExecutorDecommissionInfo)],
      adjustTargetNumExecutors: Boolean,
      triggeredByExecutor: Boolean): Seq[String] = {
    val going = super.decommissionExecutors(executors, adjustTargetNumExecutors, triggeredByExecutor)
    if (!triggeredByExecutor && going.nonEmpty) inOrder { leaving ++= going }
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

  /** Of many changes that wait behind one another only the last is told: a gateway that is slow must not be asked for all. */
  private def inOrder(change: => Unit): Future[Boolean] = {
    waiting.incrementAndGet()
    try caller.execute { () =>
      change
      if (waiting.decrementAndGet() == 0) Utils.tryLogNonFatalError(tell())
    } catch {
      case _: RejectedExecutionException => // this driver stops; the cluster goes with it
    }
    Future.successful(true)
  }

  /** Tell the gateway what it does not know yet, or has not granted yet. */
  private def tell(): Unit = {
    if (leaving.nonEmpty) {
      val ids = leaving.map(id => s""""$id"""").mkString("[", ", ", "]")
      val said = gateway.ask("POST", "executors/kill", s"""{"ids": $ids}""")
      note(s"giving back executors ${leaving.mkString(", ")}", said)
      if (said.ok) leaving = Set.empty
    }
    val counts = floored(wish)
    val asked = counts.map { case (profile, count) => profile.id -> count }
    if (asked.nonEmpty && (asked != told || asked.exists { case (id, count) => granted.getOrElse(id, 0) < count })) {
      val said = gateway.ask("PUT", "executors", Profiles.request(counts, conf).toString)
      told = if (said.ok) asked else Map.empty
      granted = if (said.ok) asked else Map.empty // unless it says otherwise:
      if (said.ok) count(said.body)
      if (said.ok) giveUp(said.body.path("never"))
      note("asking for executors", said, s"${granted.values.sum} of ${asked.values.sum} granted for now", granted != asked)
    }
  }

  /** Stages that need a worker which will never come would wait for ever: they fail, and say why. */
  private def giveUp(never: JsonNode): Unit = never.properties().asScala.foreach { one =>
    stages.asScala.collect { case (stage, profile) if profile == one.getKey.toInt => stage }.foreach { stage =>
      sc.cancelStage(stage, s"no worker for it will come: ${one.getValue.asText()}")
    }
  }

  /**
   * To Spark a lower total means "no new ones", to the gateway "end some", and it would choose which. So never fewer
   * are asked for than work here; those that Spark chooses go by their ids.
   */
  private def floored(totals: Map[ResourceProfile, Int]): Map[ResourceProfile, Int] = {
    val working = getExecutorIds().filter(isExecutorActive).groupBy(getExecutorResourceProfileId)
    totals.map { case (profile, count) => profile -> math.max(count, working.get(profile.id).fold(0)(_.size)) }
  }

  private def renewLease(): Unit = {
    val jobs = ranJobs.getAndSet(false) || sc.statusTracker.getActiveJobIds().nonEmpty
    val said = gateway.ask("PUT", "lease", s"""{"registered": ${totalRegisteredExecutors.get()}, "jobs": $jobs}""")
    note("renewing the lease", said)
    unknown = if (said.status == 404) unknown + 1 else 0
    if (said.ok) {
      learn(said.body)
      tell()
    }
    if (unknown >= 2) end("the cluster is no longer there")
  }

  /** The cluster as the gateway sees it: it may have been scaled from outside, and it knows of lost hosts before Spark does. */
  private def learn(cluster: JsonNode): Unit = {
    count(cluster)
    val registered = getExecutorIds().toSet
    cluster.path("executors").elements().asScala.filter(_.path("state").asText() == "lost").foreach { one =>
      val id = one.path("id").asText()
      val why = one.path("message").asText("").linesIterator.toSeq.lastOption.getOrElse("").trim // its own last words, when it has any
      if (registered(id)) removeExecutor(id, ExecutorProcessLost(s"lost: $why"))
      if (mourned.add(id)) logWarning(s"executor $id is lost: $why")
    }
    if (cluster.path("state").asText() == "failed" && registered.isEmpty) end(cluster.path("message").asText())
  }

  private def count(cluster: JsonNode): Unit = {
    wanted = cluster.path("wanted").asInt(wanted)
    cluster.path("granted").properties().asScala.foreach(one => granted += one.getKey.toInt -> one.getValue.asInt())
  }

  /** Without executors that will ever come, jobs would wait for ever: end the application, and say why. */
  private def end(why: String): Unit = {
    logError(s"$why; this Spark session ends")
    caller.shutdown()
    sc.stopInNewThread()
  }

  /** The same trouble with the same thing is logged once, until it is over. `less` says what is missing though it went well. */
  private def note(what: String, said: Answer, less: String = "", missing: Boolean = false): Unit = {
    val trouble = if (!said.ok) said.reason else if (missing) less else ""
    if (trouble.isEmpty) troubles.remove(what)
    else if (!troubles.put(what, trouble).contains(trouble)) logWarning(s"$what: $trouble")
  }
}
