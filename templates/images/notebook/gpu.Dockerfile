# The notebook image for containers with GPUs: TensorFlow with CUDA in place of the one for CPUs alone.
# The driver is the host's; the container toolkit brings it in when a container starts.
ARG BASE
FROM ${BASE}
LABEL occam.kind=image
COPY requirements-gpu.lock /opt/occam/
RUN pip uninstall -qy tensorflow-cpu \
 && pip install --no-cache-dir --no-deps --requirement /opt/occam/requirements-gpu.lock \
 && cd "$SPARK_HOME/.." && rm -rf tensorflow/include nvidia/*/include \
 && find nvidia tensorflow -name '*.a' -size +1M -delete \
 && CUDA_VISIBLE_DEVICES= python -c 'import tensorflow; assert tensorflow.test.is_built_with_cuda()'
