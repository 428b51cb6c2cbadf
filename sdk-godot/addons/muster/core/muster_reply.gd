@tool
class_name MusterReply
extends MusterResult
## The answer to one HTTP call, as [MusterHttp] gives it.

## HTTP status; 0 if there was no answer.
var status := 0
## The JSON object of the answer; empty if it had none.
var body := {}
