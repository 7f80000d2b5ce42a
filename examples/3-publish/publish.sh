#!/bin/sh
# Publishes with curl, in every form the gateway takes: `publish.sh` all of them, `publish.sh batch binary` these.
# MILLRACE_KEY is the key; MILLRACE_URL the gateway (http://127.0.0.1:4400). Ends with 22 where the gateway refuses.
set -eu
: "${MILLRACE_KEY:?set it to a key of the gateway, for example: export MILLRACE_KEY=\$(cat .millrace/admin-key)}"
url=${MILLRACE_URL:-http://127.0.0.1:4400}
here=$(dirname "$0")

# The key goes by standard input (-K -): arguments can be read by everybody on the machine. curl repeats what failed for now
# (408, 429, 5xx, no connection), waits as Retry-After says, and ends within a minute. Each form below can bear that.
post() {
  path=$1
  shift
  printf 'header = "Authorization: Bearer %s"\n' "$MILLRACE_KEY" |
    curl -K - --silent --show-error --fail-with-body --max-time 15 --retry 3 --retry-connrefused --retry-max-time 60 \
      --request POST "$@" "$url$path"
  echo
}

# Plain JSON. The key says what happened, so that it is the same when this script runs again after a crash.
single() {
  post /v1/events -H 'Content-Type: application/json' -H 'Idempotency-Key: order-51-created' \
    --data-binary '{"type":"orders.created","partitionkey":"customer-7","data":{"id":51,"amount":150}}'
}

# A list. One Idempotency-Key can not stand for many events: each has an id of its own. Look at each of the results.
batch() {
  post /v1/events -H 'Content-Type: application/json' --data-binary '[
    {"type":"orders.created","id":"order-52-created","source":"/shop","data":{"id":52}},
    {"type":"orders.paid","id":"order-52-paid","source":"/shop","data":{"id":52}}
  ]'
}

# A line per event, and a line per answer while it runs. Without the line {"done":…} at the end, send what has no answer again.
lines() {
  post /v1/events -H 'Content-Type: application/x-ndjson' --no-buffer --upload-file "$here/events.ndjson"
}

# A CloudEvent as JSON.
structured() {
  post /v1/events -H 'Content-Type: application/cloudevents+json' \
    --data-binary '{"specversion":"1.0","type":"orders.created","id":"order-53-created","source":"/shop","data":{"id":53}}'
}

# A CloudEvent in headers: the body is the data, of any content type, and arrives byte for byte.
binary() {
  post /v1/events -H 'ce-specversion: 1.0' -H 'ce-type: orders.noted' -H 'ce-id: order-54-noted' -H 'ce-source: /shop' \
    -H 'Content-Type: text/plain' --data-binary 'ring twice'
}

# Bare data to the address of its topic.
topic() {
  post /v1/topics/orders.created/events -H 'Content-Type: application/json' -H 'Idempotency-Key: order-55-created' \
    --data-binary '{"id":55}'
}

for form in ${*:-single batch lines structured binary topic}; do
  case $form in
    single | batch | lines | structured | binary | topic) "$form" ;;
    *)
      echo "publish.sh: there is no form '$form': single batch lines structured binary topic" >&2
      exit 2
      ;;
  esac
done
