"""What every way of Lightning has in common: reading a payment request, judging whether it is the one that was asked for.

Owns nothing but that; must not know who made a request or who is going to pay it, rails do.
"""
