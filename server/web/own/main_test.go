package own

import (
	"testing"

	"tutela/server/web/webtest"
)

func TestMain(m *testing.M) { webtest.Main(m) }
