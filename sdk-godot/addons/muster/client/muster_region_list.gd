class_name MusterRegionList
extends MusterResult
## The regions there are.

const Json := preload("../core/json.gd")

var regions: Array[MusterRegion] = []


## Reads what the API says of them.
func read(from: Dictionary) -> void:
	for item in Json.objects(from, "items"):
		var region := MusterRegion.new()
		region.name = Json.text(item, "name")
		region.is_served = Json.boolean(item, "served")
		region.beacons = Json.objects(item, "beacons")
		if region.name != "":
			regions.append(region)
