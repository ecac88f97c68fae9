# The demo in a container: docker build --tag fewshot . && docker run --rm fewshot
# `docker run --rm --volume "$PWD/results:/fewshot/results" fewshot` leaves tables and figures here.
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /fewshot
COPY . .
RUN make setup
CMD ["make", "demo"]
