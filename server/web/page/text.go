package page

import "strings"

// shortest is how many characters of a name fit into the narrowest line.
const shortest = 40

// Short cuts a name that is too long for a line, and marks the cut.
func Short(name string) string {
	characters := []rune(name)
	if len(characters) <= shortest {
		return name
	}
	return string(characters[:shortest]) + "…"
}

// Groups cuts a code into groups of four, for eyes and pens.
func Groups(code string) []string {
	var list []string
	for len(code) > 4 {
		list = append(list, code[:4])
		code = code[4:]
	}
	return append(list, code)
}

// Digits cuts a number that is to be typed into the groups in which it is read.
func Digits(number string) []string {
	if len(number) < 5 {
		return []string{number}
	}
	half := (len(number) + 1) / 2
	return []string{number[:half], number[half:]}
}

// Spelt is a number as a screen reader is to say it: digit by digit.
func Spelt(number string) string { return strings.Join(strings.Split(number, ""), " ") }

// part names the parts of a value that a shared template takes: {{template "x" part "Name" .Name "Frame" .Frame}}.
func part(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if name, ok := pairs[i].(string); ok {
			m[name] = pairs[i+1]
		}
	}
	return m
}
