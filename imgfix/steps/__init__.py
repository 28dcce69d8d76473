"""Steps: one module a capability. A step yields decisions and never acts."""
