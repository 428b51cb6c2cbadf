extends RefCounted
## The latency beacon of every edge: a UDP echo. Bytes in, values out; no socket.

const MAGIC := "MSTB"
const KIND_REQUEST := 1
const KIND_ANSWER := 2
const MIN_NONCE_BYTES := 4
const MAX_NONCE_BYTES := 59


## The request that carries [param nonce]; edges answer nonces of 4 to 59 bytes.
static func encode(nonce: PackedByteArray) -> PackedByteArray:
	var bytes := MAGIC.to_ascii_buffer()
	bytes.append(KIND_REQUEST)
	bytes.append_array(nonce)
	return bytes


## The nonce of an answer; empty if [param bytes] is none.
static func nonce_in(bytes: PackedByteArray) -> PackedByteArray:
	if bytes.size() < 5 + MIN_NONCE_BYTES or bytes.size() > 5 + MAX_NONCE_BYTES:
		return PackedByteArray()
	if bytes.slice(0, 4) != MAGIC.to_ascii_buffer() or bytes[4] != KIND_ANSWER:
		return PackedByteArray()
	return bytes.slice(5)
