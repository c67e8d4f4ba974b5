package org.apache.spark.scheduler.cluster.occam

import com.fasterxml.jackson.databind.ObjectMapper
import com.fasterxml.jackson.databind.node.ObjectNode

import org.apache.spark.SparkConf
import org.apache.spark.internal.Logging
import org.apache.spark.internal.config.{EXECUTOR_MEMORY_OVERHEAD_FACTOR, EXECUTOR_MIN_MEMORY_OVERHEAD}
import org.apache.spark.resource.{ResourceProfile, ResourceProfileManager}

/** Spark's resource profiles: executors of several sizes within one application. */
object Profiles extends Logging {
  private val json = new ObjectMapper()

  /**
   * Let stages choose their resources. Spark allows it by the master's name alone (yarn, k8s://, spark://), whatever
   * a plugged-in backend can do; so its answer to "is this standalone?" is turned to yes, in the one place that asks.
   */
  def allow(manager: ResourceProfileManager): Unit =
    try {
      val field = classOf[ResourceProfileManager].getDeclaredField("isStandaloneOrLocalCluster")
      field.setAccessible(true)
      field.setBoolean(manager, true)
    } catch {
      case error: ReflectiveOperationException => logWarning(s"all stages get the same kind of worker: $error")
    }

  /**
   * A wish in the gateway's words.
   *
   * total     executors of all profiles together
   * profiles  how many of each, by the profile's id
   * sizes     of every profile but 0, whose size the gateway chose itself: cores, memory (bytes of the container: heap,
   *           overhead, pyspark's and off-heap memory, as Spark adds them up for YARN and Kubernetes too), heap (bytes
   *           of it) and gpus
   */
  def request(counts: Map[ResourceProfile, Int], conf: SparkConf): ObjectNode = {
    val said = json.createObjectNode().put("total", counts.values.sum)
    val (profiles, sizes) = (said.putObject("profiles"), said.putObject("sizes"))
    counts.toSeq.sortBy(_._1.id).foreach { case (profile, count) =>
      profiles.put(profile.id.toString, count)
      if (profile.id != ResourceProfile.DEFAULT_RESOURCE_PROFILE_ID) sizes.set[ObjectNode](profile.id.toString, size(profile, conf))
    }
    said
  }

  private def size(profile: ResourceProfile, conf: SparkConf): ObjectNode = {
    val has = ResourceProfile.getResourcesForClusterManager(
      profile.id, profile.executorResources, conf.get(EXECUTOR_MIN_MEMORY_OVERHEAD), conf.get(EXECUTOR_MEMORY_OVERHEAD_FACTOR),
      conf, isPythonApp = true, resourceMappings = Map.empty)
    json.createObjectNode()
      .put("cores", has.cores.getOrElse(1))
      .put("memory", has.totalMemMiB << 20)
      .put("heap", has.executorMemoryMiB << 20)
      .put("gpus", has.customResources.get("gpu").fold(0L)(_.amount))
  }
}
