#!/bin/sh
# Makes every key and certificate of this folder anew, with OpenSSL 3. The tests read the committed files and never run this.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

: >"$work/index"
cat >"$work/config" <<CONFIG
[ca]
default_ca = test
[test]
database = $work/index
new_certs_dir = $work
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
CONFIG

# issue NAME KEY COMMON_NAME EXTENSIONS NOT_AFTER SIGNER...: `openssl ca` is the command that takes dates in the past.
issue() {
  name=$1 key=$2 common_name=$3 extensions=$4 not_after=$5
  shift 5
  printf '%b\n' "$extensions" >"$work/extensions"
  openssl req -new -key "$key" -subj "/CN=$common_name" -out "$work/request"
  openssl ca -batch -notext -config "$work/config" -in "$work/request" -extfile "$work/extensions" \
    -startdate 20200101000000Z -enddate "$not_after" "$@" -out "$name.pem"
}

for owner in ca server client; do
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$owner.key"
done

far=21200101000000Z
by_ca='-cert ca.pem -keyfile ca.key'
loopback='subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
issue ca ca.key 'Fault server test CA' 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign' $far -selfsign -keyfile ca.key
issue self-signed server.key localhost "$loopback" $far -selfsign -keyfile server.key
issue localhost server.key localhost "$loopback\nextendedKeyUsage=serverAuth" $far $by_ca
issue wrong-host server.key elsewhere.test 'subjectAltName=DNS:elsewhere.test\nextendedKeyUsage=serverAuth' $far $by_ca
issue expired server.key localhost "$loopback\nextendedKeyUsage=serverAuth" 20200102000000Z $by_ca
issue client client.key client 'extendedKeyUsage=clientAuth' $far $by_ca
issue expired-ca ca.key 'Expired test CA' 'basicConstraints=critical,CA:TRUE' 20200102000000Z -selfsign -keyfile ca.key
issue intermediate client.key 'Intermediate test CA' 'basicConstraints=critical,CA:TRUE' $far $by_ca
openssl pkcs8 -topk8 -in client.key -v2 aes-256-cbc -passout pass:sesame -out client-encrypted.key
chmod 644 ./*.key
