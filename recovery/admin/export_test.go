package admin

// Exports are the tables of which an export has something, by name, and Left those of which it has nothing.
func Exports() (shown, left []string) {
	for name, how := range exports {
		if how.not {
			left = append(left, name)
		} else {
			shown = append(shown, name)
		}
	}
	return shown, left
}
