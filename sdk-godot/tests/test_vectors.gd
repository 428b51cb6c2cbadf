extends "case.gd"
## The golden vectors of protocol/, which every SDK reads: the bytes are the same for all.

const Preface := preload("../addons/muster/protocol/preface.gd")
const Beacon := preload("../addons/muster/protocol/beacon.gd")
const SessionToken := preload("../addons/muster/protocol/session_token.gd")

## Beside this project in the repository.
const VECTORS := "../protocol/vectors"


func _vectors(file: String) -> Dictionary:
	var path := ProjectSettings.globalize_path("res://").path_join(VECTORS).path_join(file)
	var text := FileAccess.get_file_as_string(path)
	check(text != "", "%s can be read" % path)
	return JSON.parse_string(text)


func _hex(vectors: Dictionary, of: String) -> PackedByteArray:
	var hex: String = vectors[of]
	return hex.hex_decode()


func test_prefaces_and_answers_are_those_of_every_sdk() -> void:
	var vectors := _vectors("preface.json")
	var token: String = vectors["token"]
	equal(Preface.encode(token), _hex(vectors, "udp_preface"))
	equal(Preface.encode_tcp(token), _hex(vectors, "tcp_preface"))
	equal(Preface.answer_in(_hex(vectors, "accepted")), "accepted")
	for refusal: String in ["malformed", "untrusted", "expired", "wrong_port", "unavailable"]:
		equal(Preface.answer_in(_hex(vectors, "refused_" + refusal)), "refused_" + refusal)


func test_beacons_are_those_of_every_sdk() -> void:
	var vectors := _vectors("preface.json")
	var nonce := "nonce-01".to_ascii_buffer()
	equal(Beacon.encode(nonce), _hex(vectors, "beacon_request"))
	equal(Beacon.nonce_in(_hex(vectors, "beacon_answer")), nonce)


func test_session_tokens_say_the_same_to_every_sdk() -> void:
	var vectors := _vectors("session_token.json")
	var now_ms: float = vectors["now_ms"]
	for case: Dictionary in vectors["cases"]:
		var token: String = case["token"]
		var claims := SessionToken.claims_in(token)
		check(not claims.is_empty(), "%s has claims" % case["outcome"])
		match case["outcome"]:
			"valid":
				for pair: Array in [
					["ns", "namespace"],
					["srv", "server"],
					["prt", "port"],
					["seat", "seat"],
					["sub", "player"]
				]:
					equal(claims[pair[0]], case[pair[1]])
				equal(float(SessionToken.expires_at_ms(token)), case["expires_at_ms"])
			"expired":
				check(SessionToken.expires_at_ms(token) <= now_ms, "its time is over")


func test_what_is_none_is_none() -> void:
	equal(Preface.encode(""), PackedByteArray())
	equal(Preface.encode("x".repeat(1025)), PackedByteArray())
	for bytes: PackedByteArray in [
		PackedByteArray(),
		"MSTR".to_ascii_buffer(),
		"4d5354520202".hex_decode(),
		"4d535452010200".hex_decode(),
		"4d5354520103".hex_decode(),
		"4d535452010309".hex_decode(),
		"4d535442026e6f6e63652d3031".hex_decode(),
	]:
		equal(Preface.answer_in(bytes), Preface.NO_ANSWER, bytes.hex_encode())
	for bytes: PackedByteArray in [
		PackedByteArray(), "4d53544202aa".hex_decode(), "4d535442016e6f6e63652d3031".hex_decode()
	]:
		equal(Beacon.nonce_in(bytes), PackedByteArray(), bytes.hex_encode())
	for token: String in [
		"",
		"v4.public.",
		"v4.public.!!!",
		"v2.public.AAAA",
		"v4.public.A",
		"v4.public." + "A".repeat(2000),
		"v4.public." + "A".repeat(200) + ".x",
	]:
		equal(SessionToken.claims_in(token), {}, token)
		equal(SessionToken.expires_at_ms(token), 0)
