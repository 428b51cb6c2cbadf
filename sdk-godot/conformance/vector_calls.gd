extends "calls.gd"
## Calls about the golden vectors.

const Preface := preload("../addons/muster/protocol/preface.gd")
const Beacon := preload("../addons/muster/protocol/beacon.gd")
const SessionToken := preload("../addons/muster/protocol/session_token.gd")


func _on_vector_encode(request: Dictionary) -> Dictionary:
	match Json.text(request, "what"):
		"udp_preface":
			return _ok({"hex": Preface.encode(Json.text(request, "token")).hex_encode()})
		"tcp_preface":
			return _ok({"hex": Preface.encode_tcp(Json.text(request, "token")).hex_encode()})
		"beacon_request":
			return _ok(
				{"hex": Beacon.encode(Json.text(request, "nonce_hex").hex_decode()).hex_encode()}
			)
	return {"error": {"code": "unsupported", "message": "the addon has no such encoder"}}


func _on_vector_decode(request: Dictionary) -> Dictionary:
	var hex := Json.text(request, "hex")
	var bytes := (
		hex.hex_decode()
		if hex.is_valid_hex_number() and hex.length() % 2 == 0
		else PackedByteArray()
	)
	match Json.text(request, "what"):
		"answer":
			var answer := Preface.answer_in(bytes)
			if answer == Preface.NO_ANSWER:
				return _ok({"answer": null})
			return _ok({"answer": answer})
		"beacon_answer":
			var nonce := Beacon.nonce_in(bytes)
			if nonce.is_empty():
				return _ok({"nonce_hex": null})
			return _ok({"nonce_hex": nonce.hex_encode()})
		"session_token":
			return _claims(Json.text(request, "token"))
	return {"error": {"code": "unsupported", "message": "the addon has no such decoder"}}


static func _claims(token: String) -> Dictionary:
	var claims := SessionToken.claims_in(token)
	if claims.is_empty():
		return {
			"error":
			{"code": "refused_malformed", "message": "this is no session token of Muster's"}
		}
	return _ok(
		{
			"namespace": Json.text(claims, "ns"),
			"server": Json.text(claims, "srv"),
			"port": Json.text(claims, "prt"),
			"seat": Json.text(claims, "seat"),
			"player": Json.text(claims, "sub"),
			"expires_at_ms": SessionToken.expires_at_ms(token),
		}
	)
