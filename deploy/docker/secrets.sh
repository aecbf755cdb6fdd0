#!/bin/sh
# Makes the secrets of compose.yaml in ./secrets, once: what is there is left as it is. Readable by the programs' user in their
# containers (10001, and those of the stores), so the folder itself is for its owner only.
set -eu
cd "$(dirname "$0")"
if [ -e secrets ]; then
  echo "secrets/ is there: remove it with the volumes to begin anew" >&2
  exit 1
fi
umask 077
mkdir secrets.part
cd secrets.part
secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
redis=$(secret) nats=$(secret) postgres=$(secret)
umask 022
printf 'port 6379\nrequirepass %s\nappendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nrepl-backlog-ttl 0\nsave ""\n' "$redis" >redis.conf
printf 'redis://:%s@redis-0:6379*2,redis://:%s@redis-1:6379*2,redis://:%s@redis-2:6379*2' "$redis" "$redis" "$redis" >redis-shards
cat >nats.conf <<CONF
port: 4222
http: 127.0.0.1:8222
jetstream { store_dir: /data }
authorization { users = [{ user: doorbuster, password: "$nats" }] }
CONF
printf %s "$nats" >nats-password
printf %s "$postgres" >postgres-password
printf 'postgres://doorbuster:%s@postgres:5432/doorbuster' "$postgres" >database-url
secret >coordinator-token
printf 'k1:%s' "$(secret)" >ticket-keys
secret >admin-token
cd ..
mv secrets.part secrets
