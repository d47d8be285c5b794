//go:build race

package check

const underRace = true
