#!/bin/sh
# Makes the certificates of test/fleet/security.test.ts, which are of no use anywhere else. They are kept, so that tests need no openssl.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
for ca in ca other; do
  key $ca.key
  openssl req -x509 -new -key $ca.key -sha256 -days 36500 -subj "/CN=paraformer test $ca" -out $ca.pem
done
key server.key
openssl req -new -key server.key -subj '/CN=paraformer test server' -out server.csr
sign() { # name, subjects, begin, end
  printf 'subjectAltName=%s\n' "$2" >extensions
  : >index
  openssl ca -batch -notext -md sha256 -config /dev/stdin -in server.csr -out "$1.pem" -startdate "$3" -enddate "$4" -extfile extensions <<CONFIG
[ca]
default_ca = a
[a]
database = index
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
policy = p
[p]
commonName = supplied
CONFIG
}
echo 01 >serial
sign server 'IP:127.0.0.1,DNS:localhost' 20260101000000Z 21250101000000Z
sign expired 'IP:127.0.0.1,DNS:localhost' 20200101000000Z 20210101000000Z
sign elsewhere 'DNS:elsewhere.example' 20260101000000Z 21250101000000Z
rm -f ca.key other.key server.csr extensions index* serial* 0*.pem
