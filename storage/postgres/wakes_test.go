package postgres_test

import (
	"syscall"
	"testing"

	"tutela/storage"
	"tutela/storage/storagetest/pgtest"
)

func TestWakes_ReachTheOtherServerAlsoAfterItsLinkBroke(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	url := cluster.Database(t)
	here := open(t, url).Wakes()
	t.Cleanup(here.Close)
	there := open(t, url).Wakes()
	t.Cleanup(there.Close)
	ada := storage.UID{1}
	for range 3 {
		woken, stop := there.Watch(ada)
		awaken(t, here, ada, woken)
		cluster.Run(t, `select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'`)
		stop()
		stop()
	}
}

// awaken wakes a user until it is heard: a wake while the link is down is not heard, and is made up for when it stands again.
func awaken(t *testing.T, by storage.Wakes, uid storage.UID, woken <-chan struct{}) {
	t.Helper()
	by.Wake(uid)
	select {
	case <-woken:
	case <-t.Context().Done():
		t.Fatal("nobody was woken")
	}
}

func TestWakes_WhoeverWaitsLooksAgainWhileTheDatabaseIsAway(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	wakes := open(t, cluster.Database(t)).Wakes()
	t.Cleanup(wakes.Close)
	woken, stop := wakes.Watch(storage.UID{7})
	defer stop()
	cluster.Stop(t, syscall.SIGQUIT)
	for range 5 {
		<-woken
	}
	cluster.Up(t)
	wakes.Wake(storage.UID{7})
	<-woken
}
