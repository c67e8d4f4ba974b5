package org.apache.spark.scheduler.cluster.occam

import java.util.concurrent.atomic.AtomicInteger

import org.apache.spark.SparkEnv
import org.apache.spark.executor.CoarseGrainedExecutorBackend
import org.apache.spark.executor.CoarseGrainedExecutorBackend.Arguments
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.rpc.RpcEnv

/** Spark's executor, except that its exit code tells: Spark's own ends with 0 also when its driver is gone. */
class OccamExecutorBackend(rpcEnv: RpcEnv, asked: Arguments, env: SparkEnv, profile: ResourceProfile)
    extends CoarseGrainedExecutorBackend(
      rpcEnv, asked.driverUrl, asked.executorId, asked.bindAddress, asked.hostname, asked.cores, env,
      asked.resourcesFileOpt, profile) {

  override def exitExecutor(code: Int, reason: String, throwable: Throwable, notifyDriver: Boolean): Unit = {
    // The first reason counts: while it shuts down for that one, others follow from it.
    OccamExecutorBackend.code.compareAndSet(0, code)
    super.exitExecutor(code, reason, throwable, notifyDriver)
  }
}

object OccamExecutorBackend {
  private val code = new AtomicInteger(0)

  def main(args: Array[String]): Unit = {
    val asked = CoarseGrainedExecutorBackend.parseArguments(args, "OccamExecutorBackend")
    CoarseGrainedExecutorBackend.run(asked, (rpcEnv, asked, env, profile) => new OccamExecutorBackend(rpcEnv, asked, env, profile))
    System.exit(code.get)
  }
}
