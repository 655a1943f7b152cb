"""What things cost.

``cost``     the integer arithmetic from a price row and tokens to nano-USD
``pieces``   the same of what is charged by the piece: pictures, characters, hours of sound, search units
``book``     every row that is known of an offer, over several lists, and which of them holds at a moment
``listed``   the shape of a compiled price list
``compare``  where the lists disagree
``days``     days as microseconds
"""
