#!/bin/sh
# Cleans up after a launcher that died without doing it (kill -9). It runs in a session of its own and reads the
# launcher's pipe: the line `done` means that nothing is left to do, the end of the pipe without it means that the
# launcher is gone.
# usage: reaper.sh RUN FOLDER [FILE...]
run=$1
folder=$2
shift 2
trap '' INT TERM HUP

while IFS= read -r line; do
  [ "$line" = done ] && exit 0
done

# Every process of the run carries the run's id in its environment. A process id is looked up again before each
# signal, so that no stranger who got a dead one's number is hit.
ours() {
  for file in $(grep -lzxF "DOORBUSTER_RUN=$run" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/}
    pid=${pid%/environ}
    grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null || echo "$pid"
  done
}

# A child that was being forked when the launcher died gets its environment in a moment.
sleep 0.2

# Postgres takes TERM as "when the last client has left" and INT as "now, cleanly".
for pid in $(ours); do
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ]; then kill -INT "$pid"; else kill -TERM "$pid"; fi 2>/dev/null
done

# Programs finish what they hold for up to 10 s.
tries=0
while [ -n "$(ours)" ] && [ $tries -lt 120 ]; do
  sleep 0.1
  tries=$((tries + 1))
done

tries=0
while [ $tries -lt 50 ]; do
  left=$(ours)
  [ -z "$left" ] && break
  kill -KILL $left 2>/dev/null
  sleep 0.1
  tries=$((tries + 1))
done

rm -rf "$folder"
rm -f "$@"
