# What a course adds to the notebook image. A package of the course cannot change a version that the image is built on.
ARG BASE
FROM ${BASE}
LABEL occam.kind=image
COPY apt.txt requirements.txt /opt/occam/extra/
RUN if [ -s /opt/occam/extra/apt.txt ]; then export DEBIAN_FRONTEND=noninteractive \
 && apt-get update -q \
 && xargs --delimiter '\n' --arg-file /opt/occam/extra/apt.txt apt-get install -qy --no-install-recommends -- \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt; fi
RUN if [ -s /opt/occam/extra/requirements.txt ]; then \
    pip install --no-cache-dir --constraint /opt/occam/requirements.lock --requirement /opt/occam/extra/requirements.txt; fi
