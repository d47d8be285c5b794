package webtest_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// mostPictures bounds all pictures of pages together, in bytes: they are part of every checkout.
const mostPictures = 2 << 20

func TestShots_AreThereAndSmall(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "docs", "images")
	found, err := filepath.Glob(filepath.Join(folder, "page-*.png"))
	check.Must(t, err)
	var bytes int64
	for _, file := range found {
		info, err := os.Stat(file)
		check.Must(t, err)
		bytes += info.Size()
		if !slices.ContainsFunc(webtest.Shots, func(s webtest.Shot) bool { return s.File == filepath.Base(file) }) {
			t.Errorf("%s is taken by nothing: remove it", file)
		}
	}
	for _, shot := range webtest.Shots {
		if !slices.Contains(found, filepath.Join(folder, shot.File)) {
			t.Errorf("docs/images/%s is missing: make screenshots", shot.File)
		}
	}
	if bytes > mostPictures {
		t.Errorf("the pictures of pages have %d bytes", bytes)
	}
}
