"""Tests of the payment module: its real files run as processes between a small mgrctl and a small bridge."""
