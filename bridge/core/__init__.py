"""The pure heart: money, quotes, decisions, journals, schedules. Knows no Flask, SQL, HTTP, clock or configuration."""
