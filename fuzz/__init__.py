"""A million hostile inputs: what runs behind ``make fuzz``, and in short form in the tests.

``oracle``   what h11 makes of the same bytes, and where we differ from it
``seeds``    whole messages to start from
``mutation`` what is done to them
``targets``  the doors that must stand any bytes
``run``      the loop: counts, time bound, reproduction of a crash
"""
