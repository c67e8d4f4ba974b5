package org.apache.spark.scheduler.cluster.occam

import java.io.IOException
import java.net.URI
import java.net.http.{HttpClient, HttpRequest, HttpResponse}
import java.nio.file.{Files, Paths}
import java.time.Duration

import scala.util.control.NonFatal

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}

import org.apache.spark.SparkConf

/**
 * What the gateway said. `status` is its HTTP status, or 0 when there was no answer at all; `body` is
 * its JSON (an empty object when there was none).
 */
case class Answer(status: Int, body: JsonNode, trouble: String = "") {
  def ok: Boolean = status / 100 == 2

  /** The gateway's own words, in one line for a log. */
  def reason: String = {
    val error = body.path("error")
    val said = Seq("what", "fix").map(error.path(_).asText("")).filter(_.nonEmpty)
    val words = if (said.nonEmpty) said.mkString("; ") else if (trouble.nonEmpty) trouble else s"HTTP $status"
    words.replaceAll("\\s+", " ").take(400)
  }
}

/**
 * The gateway's REST interface for one cluster.
 *
 * @param url       where it is, such as http://tasks.ml-2026-gateway:8080/services/gateway/api
 * @param cluster   path of the cluster below it, already encoded: users/anna/clusters/lab
 * @param appId     sent along, so that the gateway tells this application from a later one of the same name
 * @param tokenFile file with the cluster's own token
 */
class Gateway(url: String, cluster: String, appId: String, tokenFile: Option[String], timeout: Duration) {
  private val json = new ObjectMapper()
  private val client = HttpClient.newBuilder()
    .version(HttpClient.Version.HTTP_1_1)
    .connectTimeout(timeout)
    .build()

  /** Never throws for anything that goes wrong on the way: see [[Answer]]. */
  def ask(method: String, piece: String = "", body: String = ""): Answer =
    try {
      val said = client.send(request(method, piece, body), HttpResponse.BodyHandlers.ofString())
      Answer(said.statusCode(), parse(said.body()))
    } catch {
      case error: IOException => Answer(0, json.createObjectNode(), s"no answer from $url (${describe(error)})")
      case NonFatal(error) => Answer(0, json.createObjectNode(), describe(error))
    }

  private def request(method: String, piece: String, body: String): HttpRequest = {
    val target = Seq(url.stripSuffix("/"), cluster, piece).filter(_.nonEmpty).mkString("/")
    val asked = HttpRequest.newBuilder(URI.create(s"$target?app_id=$appId")).timeout(timeout).header("Content-Type", "application/json")
    tokenFile.foreach(file => asked.header("Authorization", "token " + Files.readString(Paths.get(file)).trim))
    asked.method(method, HttpRequest.BodyPublishers.ofString(body)).build()
  }

  private def parse(text: String): JsonNode =
    try Option(json.readTree(text)).filter(_.isObject).getOrElse(json.createObjectNode())
    catch { case _: IOException => json.createObjectNode() }

  private def describe(error: Throwable): String =
    error.getClass.getSimpleName + Option(error.getMessage).map(": " + _).getOrElse("")
}

object Gateway {
  /** From `spark.occam.url`, `.cluster`, `.app.id`, `.token.file` and `.timeout` (seconds, default 10). */
  def apply(conf: SparkConf): Gateway = new Gateway(
    conf.get("spark.occam.url"),
    conf.get("spark.occam.cluster"),
    conf.get("spark.occam.app.id"),
    conf.getOption("spark.occam.token.file"),
    Duration.ofSeconds(conf.getTimeAsSeconds("spark.occam.timeout", "10s")))
}
