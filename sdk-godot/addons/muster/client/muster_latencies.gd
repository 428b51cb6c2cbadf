class_name MusterLatencies
extends MusterResult
## Round trips to the regions, as the edges' beacons told.

## The smallest of several round trips to each region that answered, in milliseconds, rounded up.
var by_region: Dictionary = {}
## Every region there is, whether it answered or not.
var regions: Array[String] = []


## The nearest region; empty if none answered.
func nearest() -> String:
	var found := ""
	var smallest := 0
	for region: String in by_region:
		var latency: int = by_region[region]
		if found == "" or latency < smallest:
			found = region
			smallest = latency
	return found
