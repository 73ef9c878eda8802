import gc
import threading

import numpy as np
import psutil
import pytest

from geoseg.core import buffers

SIDE = 2048  # of float32: more than the least


@pytest.fixture(autouse=True)
def no_spare():
    buffers._spare.clear()
    yield
    buffers._spare.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_an_array_has_the_shape_and_type_that_were_asked_for_and_can_be_written():
    array = buffers.empty((3, SIDE, SIDE), np.int16)
    array[:] = 7
    assert array.shape == (3, SIDE, SIDE)
    assert array.dtype == np.int16
    assert array.flags.c_contiguous
    assert array.sum() == 7 * 3 * SIDE**2


def test_memory_is_used_again_when_the_array_and_its_views_are_gone():
    array = buffers.empty((SIDE, SIDE), np.float32)
    place, view = address(array), array[5:9]
    del array
    other = buffers.empty((SIDE, SIDE), np.float32)
    assert address(other) != place
    del view
    assert address(buffers.empty((SIDE, SIDE - 1), np.int32)) == place


def test_a_far_too_large_buffer_is_left_for_others():
    array = buffers.empty((4, SIDE, SIDE), np.float32)
    place = address(array)
    del array
    small = buffers.empty((SIDE, SIDE), np.float32)
    assert address(small) != place
    assert address(buffers.empty((4, SIDE, SIDE), np.float32)) == place


def test_few_buffers_are_kept_and_small_arrays_never():
    arrays = [buffers.empty((SIDE, SIDE), np.float32) for _ in range(buffers.SPARE + 3)]
    arrays.append(buffers.empty((10, 10), np.float32))
    arrays.clear()
    assert len(buffers._spare) == buffers.SPARE


def test_arrays_that_die_in_a_cycle_give_their_memory_back():
    array = buffers.empty((SIDE, SIDE), np.float32)
    place, cycle = address(array), [array]
    cycle.append(cycle)
    del array, cycle
    gc.collect()
    assert address(buffers.empty((SIDE, SIDE), np.float32)) == place


def test_threads_never_share_a_buffer():
    wrong = []

    def work(number):
        for _ in range(50):
            array = buffers.empty((SIDE // 2, SIDE), np.float64)
            array[::97] = number
            if (array[::97] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(0, 5), (1, 3), (3, SIDE, 7)])
def test_a_lasting_array_can_be_written(shape):
    kept = [buffers.lasting(shape, np.int32) for _ in range(3)]
    for array in kept:
        array[:] = 5
        assert array.shape == shape
        assert array.dtype == np.int32
        assert array.flags.c_contiguous
        assert (array == 5).all()
    assert len({address(a) for a in kept if a.size}) == (3 if kept[0].size else 0)


def test_lasting_arrays_leave_no_holes_when_they_die():
    process, size = psutil.Process(), 250_000
    np.ones(30_000_000, np.uint8)  # from now on malloc keeps arrays of up to this size in its heap
    dying, between = [], []
    for _ in range(200):
        dying.append(buffers.lasting((size,), np.int32))
        dying[-1][:] = 1
        between.append(np.ones(size // 10, np.int32))
    before = process.memory_info().rss
    dying.clear()
    assert process.memory_info().rss < before - 0.9 * 200 * 4 * size
    assert len(between) == 200
