package server

import "github.com/gofiber/fiber/v2"

// Beyond makes refuse answer every call, by whatever method, to a path below prefix at which nothing else was mounted. refuse
// returns the error that the caller is told. It is asked before the body is read. Call Beyond when all else below prefix is mounted,
// and before Serve.
func (s *Server) Beyond(prefix string, refuse func(method string, asked Asked) error) {
	below := prefix + "/+"
	s.app.Use(below, func(c *fiber.Ctx) error {
		return refuse(c.Method(), asked{c, CallOf(c.Context())})
	})
	s.doors.Use(below, func(c *fiber.Ctx) error {
		call := CallOf(c.Context())
		call.write(s.problem(call, refuse(c.Method(), asked{c, call})))
		call.turnAway()
		return nil
	})
}
